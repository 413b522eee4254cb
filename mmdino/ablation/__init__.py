from .report import TableRow, write_table
from .row import AblationRun, Figures
from .tables import (BASES, PAPER, Variant, find_variants, list_tables,
                     load_variant)

__all__ = [
    'AblationRun', 'BASES', 'Figures', 'PAPER', 'TableRow', 'Variant',
    'find_variants', 'list_tables', 'load_variant', 'write_table'
]
