# Both programs in one image: docker run IMAGE orchestrator …, docker run IMAGE worker …

FROM golang:1.26-bookworm AS build
WORKDIR /src
# Before the source, so that a change of the source downloads nothing again.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# Static, so that they run in any other image that you copy them to.
RUN CGO_ENABLED=0 go build -trimpath -ldflags=-s -o /out/ ./cmd/...

FROM debian:bookworm-slim
# What the commands of modules find on a worker: Debian's shell and tools, git, and the certificates that HTTPS needs.
# Add what yours require, or copy the programs into an image that has it.
RUN apt-get update && \
    apt-get install --yes --no-install-recommends ca-certificates git && \
    rm -rf /var/lib/apt/lists/* && \
    git config --system --add safe.directory '*' # a directory that is mounted belongs to a user of the host
COPY --from=build /out/ /usr/local/bin/
# Not root; and a home, and a place for a volume with the signing key, in which any other user that a container is given
# can write.
RUN useradd --uid 1000 --create-home modpipe && chmod 1777 /home/modpipe && mkdir --mode=1777 /var/lib/modpipe
ENV HOME=/home/modpipe
USER modpipe
