from .in_process import SerialExecutor as SerialExecutor
from .in_process import serial_executor as serial_executor
from .local import LocalExecutor as LocalExecutor
from .local import local_executor as local_executor
from .lost_worker import WorkerLostError as WorkerLostError
from .protocol import Context as Context
from .protocol import Executor as Executor
from .protocol import Needs as Needs
