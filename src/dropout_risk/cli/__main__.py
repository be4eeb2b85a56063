"""`python -m dropout_risk.cli` is the command `dropout-risk`."""

from dropout_risk.cli import main

main()
