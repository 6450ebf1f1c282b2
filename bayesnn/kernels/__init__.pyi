from .network_kernel import NetworkKernel as NetworkKernel
from .network_kernel import nngp as nngp
from .network_kernel import ntk as ntk
