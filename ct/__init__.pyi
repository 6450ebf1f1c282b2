from .classical.filtered_backprojection import fbp as fbp
from .geometry import FanBeam as FanBeam
from .geometry import ImageGrid as ImageGrid
from .geometry import ParallelBeam as ParallelBeam
from .posterior.mc_dropout import mc_dropout as mc_dropout
from .projectors.operator import projector as projector
from .reconstruction import reconstruct as reconstruct
from .result import Reconstruction as Reconstruction
