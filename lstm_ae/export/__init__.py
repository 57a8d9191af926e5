"""Export a trained model as a verified SavedModel with a manifest and a model card.

A server uses `layout`, `manifest`, `admission`, `graph_check`, `operations`, and `warmup`, which do not need Keras.
"""
