"""The shell: processes, the three guarded doors (accept, record, dispatch) and storage."""
