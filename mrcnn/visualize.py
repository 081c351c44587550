"""The historical `mrcnn.visualize`: pictures of images, instances and results.

The work is done in `mrcnn.drawing`, whose docstring lists the arguments that many functions share.
Every function that makes a figure takes `save_to=path`: the picture is then drawn without a display
or pyplot, the file appears whole or not at all, and nothing stays open. Without it the pyplot
figure is the current one after the call, and the `display_` functions show it, as in the original.
"""

from mrcnn.drawing.boxes import draw_boxes, draw_rois
from mrcnn.drawing.charts import (
    plot_confusion_matrix,
    plot_f1,
    plot_losses,
    plot_overlaps,
    plot_precision_recall,
    plot_precision_recall_curves,
)
from mrcnn.drawing.grids import display_images, display_top_masks
from mrcnn.drawing.instances import display_comparison, display_detections, display_instances
from mrcnn.drawing.pixels import apply_mask, draw_box, random_colors
from mrcnn.drawing.weights import display_table, display_weight_stats, plot_weight_histograms
from mrcnn.evaluation.differences import display_differences
from mrcnn.legacy import imports as _imports

__getattr__ = _imports.lazy_imports(__name__, _imports.VISUALIZE)
