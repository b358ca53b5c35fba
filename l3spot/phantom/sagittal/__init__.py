"""Random sagittal slabs of the spine, to train the network of vertebrae."""
