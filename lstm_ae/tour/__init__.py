"""Tour of the source report: its findings (`findings`), trainings (`trainings`), and verdicts (`evaluation`)."""
