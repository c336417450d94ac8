"""The online service: scores records, takes labels, swaps models. Knows no torch."""

import os

# onnxruntime's official wheels report to their makers otherwise; it reads this when it is imported
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
