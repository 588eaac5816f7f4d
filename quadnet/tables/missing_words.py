"""The words in files and on the command line that mean a missing value."""

# Without "-" and "none": both are frequent categories, such as the classes + and - of a test.
MISSING_WORDS: tuple[str, ...] = (
    *("", "NA", "N/A", "n/a", "na", "<NA>", "NaN", "nan", "-NaN", "-nan", "NaT"),
    *("null", "NULL", "Null", "None", "?", ".", "\\N"),
    *("#N/A", "#N/A N/A", "#NA", "#NULL!", "#DIV/0!", "#NUM!", "#VALUE!", "#REF!", "#NAME?"),
)
"""Words that mean a missing value, as R, pandas, SAS, databases and spreadsheets write them."""
