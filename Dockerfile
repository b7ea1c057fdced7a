# Runs the two commands of the README:
#   docker build -t capsrepro .
#   docker run capsrepro                                   # the pipeline, then the table
#   docker run capsrepro python -m tox run -e tests        # all tests
FROM python:3.12-slim
RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*
RUN python -m pip install --no-cache-dir tox
WORKDIR /capsrepro
COPY . .
# The environments are part of the image, so that a run downloads only MNIST.
RUN python -m tox run -e repro,tests --notest
CMD ["python", "-m", "tox", "run", "-e", "repro"]
