"""The imperative shell: ask → parse → plan → propose → vote → perform, over the ports alone."""
