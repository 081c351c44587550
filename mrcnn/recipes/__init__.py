"""Recipes: modules that turn the settings of a Config into the parts of the model.

`Config.RECIPE` names one: "matterport" is `mrcnn.recipes.matterport`, any other name a module of
your own. A recipe is a module, or any object, with these six names (`c` is a Config):

    SPACE               the `BoxSpace` of all normalized boxes
    anchors(c)          an `AnchorGenerator`
    rpn_targets(c)      the `RPNTargets` of these anchors
    network_parts(c)    `NetworkParts`, which have the weights
    operators(c)        `Operators`, which have none; for export to LiteRT also
                        operators(c, fixed_shapes=True)
    WEIGHT_SETTINGS     the settings that decide on names and shapes of weights
"""
