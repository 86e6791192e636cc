"""Whatever a file holds, what reads it answers with data or with an error of ours, soon and in little memory."""
