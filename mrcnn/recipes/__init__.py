"""Recipes: modules that turn the settings of a Config into the parts of the model.

`Config.RECIPE` names one. A recipe is a module, or any object, with the functions `anchors`,
`rpn_targets`, `network_parts` and `operators` of a Config; see `mrcnn.recipes.matterport`.
"""
