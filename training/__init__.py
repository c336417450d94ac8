"""The offline package: learns prototypes of normal from few labels and writes a bundle."""

import os

# onnxruntime's official wheels report to their makers otherwise; it reads this when it is imported
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
