from .batch_softmax import BatchSoftmax
from .mean_centering import MeanCentering
from .no_centering import NoCentering
from .sinkhorn_knopp import SinkhornKnopp

__all__ = ['BatchSoftmax', 'MeanCentering', 'NoCentering', 'SinkhornKnopp']
