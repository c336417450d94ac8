"""The Open Inference Protocol, version 2, over REST: what KServe, MLServer and Triton's clients speak."""
