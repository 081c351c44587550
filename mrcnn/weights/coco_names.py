"""Names of COCO's classes, in the orders of published weights."""

# By COCO's category id, of which some are not used, with "_" for a space.
_BY_ID = (
    "BG person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant N/A "
    "stop_sign parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe N/A "
    "backpack umbrella N/A N/A handbag tie suitcase frisbee skis snowboard sports_ball kite "
    "baseball_bat baseball_glove skateboard surfboard tennis_racket bottle N/A wine_glass cup fork "
    "knife spoon bowl banana apple sandwich orange broccoli carrot hot_dog pizza donut cake chair "
    "couch potted_plant bed N/A dining_table N/A N/A toilet N/A tv laptop mouse remote keyboard "
    "cell_phone microwave oven toaster sink refrigerator N/A book clock vase scissors teddy_bear "
    "hair_drier toothbrush"
)

_UNUSED = "N/A"


def class_names(num_classes):
    """Return the names of COCO's classes for a number of classes of published weights, or None.

    They are 91 with torchvision, where a class is a category id of COCO and "N/A" is no category,
    and 81 elsewhere; "BG" is the first.
    """
    by_id = [name.replace("_", " ") for name in _BY_ID.split()]
    names = {91: by_id, 81: [name for name in by_id if name != _UNUSED]}
    return names.get(num_classes)
