"""The model store: which model files exist, which are here, how they are downloaded and checked."""
