"""Speed and accuracy against other programs; run with ./run bench."""
