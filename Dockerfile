# One image for all of Holdfast's commands: `holdfast proxy` and `holdfast coordinator` run from it.
#
# The base brings Python 3.11 or newer with its venv module, and nothing of ours. It has no default: name one by its digest,
# so that what was tested is what is built again. `make image` makes one of Debian's packages.
#
#     docker build --build-arg BASE_IMAGE=python:3.13-slim@sha256:… -t holdfast .
ARG BASE_IMAGE

FROM ${BASE_IMAGE} AS build
WORKDIR /src
COPY requirements/image.txt requirements/package.txt requirements/
RUN python3 -m venv /usr/lib/holdfast \
 && /usr/lib/holdfast/bin/pip install --no-cache-dir --require-hashes -r requirements/image.txt -r requirements/package.txt
COPY . .
# What only builds and installs stays behind: whoever gets into a container finds no installer there.
RUN /usr/lib/holdfast/bin/pip install --no-cache-dir --no-deps --no-build-isolation --no-index . \
 && /usr/lib/holdfast/bin/pip uninstall --yes setuptools pip

FROM ${BASE_IMAGE}
COPY --from=build /usr/lib/holdfast /usr/lib/holdfast
ENV PATH=/usr/lib/holdfast/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1
# By number, so that Kubernetes can see that it is not root. Nothing is written but the store's files, where they are.
USER 65532:65532
WORKDIR /
ENTRYPOINT ["holdfast"]
