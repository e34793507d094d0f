"""The README's picture, taken from the explorer's page: python -m pytest tests/browser/pictures.py"""

from pathlib import Path

from fcnviz.explorer import save_page

IMAGE = Path(__file__).parents[2] / "notebooks" / "images" / "start-256.png"
WIDTH = 1280


def test_take_the_picture_of_the_break(browser, tmp_path):
    page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light", reduced_motion="reduce")
    page.goto(f"{save_page(tmp_path / 'page.html').as_uri()}#h=256&w=256&step=classifier.0")
    explorer = page.locator(".fcnviz-explorer")
    beside = WIDTH - round(explorer.bounding_box()["width"])
    page.set_viewport_size({"width": WIDTH + beside, "height": 900})
    page.get_by_role("heading", name="classifier.0").wait_for()
    page.wait_for_timeout(600)  # the planes are painted when there is time
    explorer.screenshot(path=IMAGE)
    page.close()
