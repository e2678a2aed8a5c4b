# Two ways to the same image: the static binary, its configuration, and nothing else.

# Around the binary that `scripts/cluster up` has built. Needs no registry.
FROM scratch AS prebuilt
COPY target/cluster/quorate /quorate
COPY config/docker.toml /etc/quorate.toml
COPY config/quorums /etc/quorums
# Where the volumes with the keys are mounted: these get the owner from here.
COPY --chown=65534:65534 config/keys /keys
USER 65534:65534
ENTRYPOINT ["/quorate"]
CMD ["node", "--config", "/etc/quorate.toml"]

# From the sources, where the toolchain's image can be had.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
COPY crates crates
RUN RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release \
        --package quorate-node --bin quorate --target "$(uname -m)-unknown-linux-gnu" \
    && cp "target/$(uname -m)-unknown-linux-gnu/release/quorate" /quorate

FROM scratch AS source
COPY --from=build /quorate /quorate
COPY config/docker.toml /etc/quorate.toml
COPY config/quorums /etc/quorums
# Where the volumes with the keys are mounted: these get the owner from here.
COPY --chown=65534:65534 config/keys /keys
USER 65534:65534
ENTRYPOINT ["/quorate"]
CMD ["node", "--config", "/etc/quorate.toml"]
