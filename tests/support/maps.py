"""What tests share with those of maps."""

import numpy as np

PALETTE = np.array([[0, 255, 0], [255, 255, 0], [0, 0, 255]], np.uint8)
