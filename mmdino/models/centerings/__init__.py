from .mean_centering import MeanCentering

__all__ = ['MeanCentering']
