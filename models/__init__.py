"""What a model is: schema, manifest, bundle and store. No torch, no web framework, no runtime."""
