"""A server of SavedModels with TensorFlow Serving's REST and gRPC interfaces, based on TensorFlow alone."""
