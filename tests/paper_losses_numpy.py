"""The five losses of the paper's recipe in NumPy and float64, from the outputs of a network.

A second implementation, which shares no code with `mrcnn`: formulas of Fast R-CNN (section 2.3),
Faster R-CNN (section 3.1.2) and Mask R-CNN (section 3). Boxes are (y1, x1, y2, x2) in pixels. All
anchors that are not neutral and all RoIs count.
"""

import numpy as np

STRIDES, SIZES, RATIOS = (4, 8, 16, 32, 64), (32, 64, 128, 256, 512), (0.5, 1.0, 2.0)


def anchors_of(height, width):
    """Return the anchors of P2 to P6 by level, row, column and ratio height / width, `[A, 4]`.

    As in torchvision, the distance of rows is the height divided by their number, rounded down.
    """
    found = []
    for stride, size in zip(STRIDES, SIZES, strict=True):
        rows, columns = -(-height // stride), -(-width // stride)
        step = np.array([height // rows, width // columns] * 2)
        for row in range(rows):
            for column in range(columns):
                for ratio in RATIOS:
                    tall, wide = size * np.sqrt(ratio) / 2, size / np.sqrt(ratio) / 2
                    # Halves of the sides are rounded.
                    corner = np.round([-tall, -wide, tall, wide])
                    found.append(corner + np.array([row, column, row, column]) * step)
    return np.array(found)


def ious(a, b):
    """Return the IoU of each of `[n, 4]` with each of `[m, 4]`, `[n, m]`."""
    table = np.zeros((len(a), len(b)))
    for j, (y1, x1, y2, x2) in enumerate(b):
        tall = np.minimum(a[:, 2], y2) - np.maximum(a[:, 0], y1)
        wide = np.minimum(a[:, 3], x2) - np.maximum(a[:, 1], x1)
        both = np.maximum(tall, 0) * np.maximum(wide, 0)
        areas = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1]) + (y2 - y1) * (x2 - x1)
        table[:, j] = both / (areas - both)
    return table


def deltas_to(boxes, goals):
    """Return (dy, dx, log dh, log dw) from boxes to goals, `[n, 4]` each."""
    size, goal_size = boxes[:, 2:] - boxes[:, :2], goals[:, 2:] - goals[:, :2]
    centre, goal_centre = boxes[:, :2] + size / 2, goals[:, :2] + goal_size / 2
    return np.hstack([(goal_centre - centre) / size, np.log(goal_size / size)])


def smooth_l1(errors, beta):
    errors = np.abs(errors)
    line = errors - beta / 2
    return line if beta == 0 else np.where(errors < beta, errors**2 / (2 * beta), line)


def rpn_roles(anchors, gt_boxes):
    """Return 1, 0 or -1 (neutral) for each anchor, and the index of its object."""
    table = ious(anchors, gt_boxes)
    best = table.max(axis=1)
    roles = np.where(best < 0.3, 0, -1)
    # Every object has the anchors that overlap it most, even below 0.7.
    highest = (table == table.max(axis=0)).any(axis=1)
    roles[(best >= 0.7) | highest] = 1
    return roles, table.argmax(axis=1)


def rpn_losses(logits, deltas, gt_boxes, anchors, beta=1 / 9):
    """Return the class and the box loss of the RPN.

    Args:
        logits, deltas: `[B, A]` and `[B, A, 4]`.
        gt_boxes: list of `[G, 4]`, one per image.
        anchors: `[A, 4]`.
    """
    entropies, box, count = [], 0.0, 0
    for image_logits, image_deltas, boxes in zip(logits, deltas, gt_boxes, strict=True):
        roles, match = rpn_roles(anchors, boxes)
        x, y = image_logits[roles >= 0].astype(np.float64), roles[roles >= 0]
        entropies.append(np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0) - x * y)
        positive = roles == 1
        goals = deltas_to(anchors[positive], boxes[match[positive]])
        box += smooth_l1(image_deltas[positive] - goals, beta).sum()
        count += (roles >= 0).sum()
    return np.concatenate(entropies).mean(), box / count


def aligned_mask(mask, box, bins=28):
    """Return RoIAlign of a mask, not aligned to half pixels, one sample per pixel or more."""
    axes = []
    for low, high, size in zip(box[:2], box[2:], mask.shape, strict=True):
        length = max(high - low, 1.0)
        samples = int(np.ceil(length / bins - 1e-6))
        at = low + (np.arange(bins * samples) + 0.5) * length / bins / samples
        outside = (at < -1) | (at > size)
        at = at.clip(0, size - 1)
        below = np.floor(at).astype(int)
        axes.append((samples, below, np.minimum(below + 1, size - 1), at - below, ~outside))
    (down, top, bottom, v, row_in), (across, left, right, u, column_in) = axes
    mask, v, u = mask.astype(np.float64), v[:, None], u[None]
    upper = mask[np.ix_(top, left)] * (1 - u) + mask[np.ix_(top, right)] * u
    lower = mask[np.ix_(bottom, left)] * (1 - u) + mask[np.ix_(bottom, right)] * u
    values = (upper * (1 - v) + lower * v) * row_in[:, None] * column_in[None]
    return values.reshape(bins, down, bins, across).mean(axis=(1, 3))


def roi_losses(rois, logits, deltas, masks, truth, std=(0.1, 0.1, 0.2, 0.2), beta=1 / 9):
    """Return the class, box and mask loss of the heads.

    Args:
        rois: list of `[R, 4]`, one per image.
        logits: list of `[R, K]`.
        deltas: list of `[R, K, 4]`.
        masks: list of `[P, 28, 28, K]`, probabilities of the positive RoIs in their order.
        truth: list of boxes `[G, 4]`, class ids `[G]` and masks `[G, h, w]`.
    """
    entropies, mask_entropies, box = [], [], 0.0
    for image_rois, x, d, m, (boxes, class_ids, gt) in zip(
        rois, logits, deltas, masks, truth, strict=True
    ):
        table = ious(image_rois, boxes)
        match, positive = table.argmax(axis=1), table.max(axis=1) >= 0.5
        classes = np.where(positive, class_ids[match], 0)
        x = x.astype(np.float64)
        highest = x.max(axis=1)
        log_sum = highest + np.log(np.exp(x - highest[:, None]).sum(axis=1))
        entropies.append(log_sum - x[np.arange(len(x)), classes])
        (kept,) = np.nonzero(positive)
        goals = deltas_to(image_rois[kept], boxes[match[kept]]) / std
        box += smooth_l1(d[kept, classes[kept]] - goals, beta).sum()
        for probabilities, roi in zip(m, kept, strict=True):
            goal = aligned_mask(gt[match[roi]], image_rois[roi])
            p = probabilities[..., classes[roi]].astype(np.float64).clip(1e-12, 1 - 1e-12)
            mask_entropies.append(-(goal * np.log(p) + (1 - goal) * np.log(1 - p)))
    entropies = np.concatenate(entropies)
    return entropies.mean(), box / len(entropies), np.mean(mask_entropies)
