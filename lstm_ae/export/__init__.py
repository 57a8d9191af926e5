"""Export a trained model as a verified SavedModel with a manifest and a model card.

`graph_check`, `operations`, `probe`, and `manifest` do not need Keras, so a server can use them.
"""
