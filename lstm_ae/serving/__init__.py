"""A server of SavedModels that speaks TensorFlow Serving's language, over REST and gRPC, with TensorFlow alone."""
