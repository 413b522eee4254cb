from .report import TableRow, write_table
from .row import AblationRun, Figures
from .tables import BASES, Variant, find_variants, list_tables, load_variant

__all__ = [
    'AblationRun', 'BASES', 'Figures', 'TableRow', 'Variant', 'find_variants',
    'list_tables', 'load_variant', 'write_table'
]
