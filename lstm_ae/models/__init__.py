"""Keras functional models: autoencoders, classifiers, forecasters, and the scaling that lives in their graph."""
