from .empirical.kernel import EmpiricalNTK as EmpiricalNTK
from .empirical.kernel import empirical_ntk as empirical_ntk
from .input_scales import with_input_scales as with_input_scales
from .network_kernel import NetworkKernel as NetworkKernel
from .network_kernel import nngp as nngp
from .network_kernel import ntk as ntk
