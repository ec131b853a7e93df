"""What every part stands on: files, downloads, threads, compiled functions, pictures, progress.

It knows nothing of what stands above.
"""
