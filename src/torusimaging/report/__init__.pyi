from .catalog import write_sample
from .folder import write_report
from .tables import describe, text_report, text_table

__all__ = ["describe", "text_report", "text_table", "write_report", "write_sample"]
