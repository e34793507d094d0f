"""The networks of the course, with the layer names of torchvision or of the paper's authors where they have them.

A model comes on the meta device: shapes and parameter counts, no numbers, no memory. `seed=0` gives it real
random weights on the CPU, the same ones every time, and leaves torch's own random numbers where they were.
`load` fills it from a file. Every model comes in eval mode. Nothing here downloads or trains.

In reading order: `weights` (random ones), `files` (those of a file), `classifiers` (one answer for one image),
`trunks` (the layers of the paper's authors), `transplant` (weights of one network in another), `fully_convolutional`
(an answer for every pixel), `mobilenet` (the one whose ImageNet weights come with a package).
"""

from fcnviz.models.classifiers import VGG16, AlexNet, LeNet, TwoConvolutions, alexnet, lenet, two_convolutions, vgg16
from fcnviz.models.files import load
from fcnviz.models.fully_convolutional import FCN8s, FCN16s, FCN32s, FCNAlexNet, fcn8s, fcn16s, fcn32s, fcn_alexnet
from fcnviz.models.mobilenet import MobileNetV2, mobilenet_v2
from fcnviz.models.trunks import CaffeAlexNet, caffe_alexnet

__all__ = [
    "VGG16",
    "AlexNet",
    "CaffeAlexNet",
    "FCN8s",
    "FCN16s",
    "FCN32s",
    "FCNAlexNet",
    "LeNet",
    "MobileNetV2",
    "TwoConvolutions",
    "alexnet",
    "caffe_alexnet",
    "fcn8s",
    "fcn16s",
    "fcn32s",
    "fcn_alexnet",
    "lenet",
    "load",
    "mobilenet_v2",
    "two_convolutions",
    "vgg16",
]
