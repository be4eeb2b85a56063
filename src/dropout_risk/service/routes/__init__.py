"""The routes of the service: short functions; what they do is in the modules beside."""
