"""Jobs in this process, in processes of this machine, and in actors on a Ray cluster. They need no TensorFlow."""
