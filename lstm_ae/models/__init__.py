"""Keras functional models: autoencoders, classifiers, forecasters, and in-graph scaling."""
