"""The one family of errors. Each sentence says what was asked, what was there and which rule broke."""


class FcnvizError(Exception):
    """Base of everything fcnviz raises on purpose."""


class InputError(FcnvizError, ValueError):
    """What was handed in cannot be an input of this model, or is no model at all."""


class WindowError(FcnvizError, ValueError):
    """A window (kernel, stride, padding, dilation) that does not fit, where torch refuses as well."""


class LawError(FcnvizError, RuntimeError):
    """Symbols cannot follow this model: the sentence names the module and the reason. `trace` still can."""


class RealTensorNeeded(FcnvizError, RuntimeError):
    """The forward looks at numbers, and shapes alone carry none: a real tensor has to be passed."""


class GeometryError(FcnvizError, ValueError):
    """Cells that do not lie on each other, or have no one place on the image: the sentence says by how much, or why."""


class SurgeryError(FcnvizError, ValueError):
    """No convolution does what this Linear or network does: the sentence names the step and the reason."""


class SeesMoreThanItsWindow(UserWarning):
    """A network was cast, and steps of it look beyond a window: the dense map is not the classifier's, cell by cell."""


class AlreadyConvolutional(UserWarning):
    """There was nothing to cast: the network handed in is fully convolutional and was handed back as it is."""


class SiteError(FcnvizError, RuntimeError):
    """A notebook cannot become a page: it does not run, has no title, or shows a picture without words for it."""


class DataError(FcnvizError, OSError):
    """Pictures or weights that a lesson needs are not there, or are not the ones that were meant: what to install."""
