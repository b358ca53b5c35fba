"""System 3: finds the third lumbar vertebra (L3) in CT scans; uses `mtl`."""
