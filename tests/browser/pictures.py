"""The README's picture, taken from the first notebook in JupyterLab: python -m pytest tests/browser/pictures.py"""

from pathlib import Path

IMAGES = Path(__file__).parents[2] / "notebooks" / "images"


def test_take_the_picture_of_the_break(lab):
    lab.open("00_start.ipynb")
    lab.run_all()
    lab.page.get_by_role("button", name="256 × 256").click()
    lab.page.get_by_role("button", name="where they part").click()
    lab.page.get_by_text("columns = n").wait_for()
    lab.page.evaluate("document.activeElement.blur()")
    lab.page.locator(".fcnviz-sizes").screenshot(path=IMAGES / "start-256.png")
