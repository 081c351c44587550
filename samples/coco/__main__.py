"""Run the sample as a part of the installed package."""

from mrcnn.samples import run

run("coco")
