"""cathoscope: raw in situ measurements of battery cathode particles to numbers with error bars."""

__version__ = "0.1.0"
