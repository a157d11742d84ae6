#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes wg_vectors.h: known answers for lib/wg.

Every function here is written from its specification and shares nothing with lib/wg or OpenSSL:
X25519 from RFC 7748, ChaCha20-Poly1305 from RFC 8439, XChaCha20 from draft-irtf-cfrg-xchacha, BLAKE2s
from Python's hashlib, the handshake from sections 5.4.1 to 5.4.7 of the WireGuard paper. Each is first
held against the vectors that its specification prints.
"""
import hashlib
import hmac
import struct

P = 2**255 - 19


def x25519(k, u):
    k = bytearray(k)
    k[0] &= 248
    k[31] = k[31] & 127 | 64
    k = int.from_bytes(k, "little")
    x1 = int.from_bytes(u, "little") & (2**255 - 1)
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in range(254, -1, -1):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a, b * b, d * a, c * b
        e = aa - bb
        x3, z3 = (da + cb)**2 % P, x1 * (da - cb)**2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def rotl(v, n):
    return (v << n | v >> 32 - n) & 0xffffffff


def rounds(s):
    def quarter(a, b, c, d):
        s[a] = (s[a] + s[b]) & 0xffffffff; s[d] = rotl(s[d] ^ s[a], 16)
        s[c] = (s[c] + s[d]) & 0xffffffff; s[b] = rotl(s[b] ^ s[c], 12)
        s[a] = (s[a] + s[b]) & 0xffffffff; s[d] = rotl(s[d] ^ s[a], 8)
        s[c] = (s[c] + s[d]) & 0xffffffff; s[b] = rotl(s[b] ^ s[c], 7)
    for _ in range(10):
        quarter(0, 4, 8, 12); quarter(1, 5, 9, 13); quarter(2, 6, 10, 14); quarter(3, 7, 11, 15)
        quarter(0, 5, 10, 15); quarter(1, 6, 11, 12); quarter(2, 7, 8, 13); quarter(3, 4, 9, 14)


def state(key, tail):
    return list(struct.unpack("<16I", b"expand 32-byte k" + key + tail))


def chacha20_block(key, counter, nonce):
    s = state(key, struct.pack("<I", counter) + nonce)
    w = s[:]
    rounds(w)
    return struct.pack("<16I", *((a + b) & 0xffffffff for a, b in zip(s, w)))


def hchacha20(key, nonce):
    s = state(key, nonce)
    rounds(s)
    return struct.pack("<8I", *s[:4], *s[12:])


def chacha20(key, counter, nonce, data):
    out = bytearray()
    for i in range(0, len(data), 64):
        block = chacha20_block(key, counter + i // 64, nonce)
        out += bytes(a ^ b for a, b in zip(data[i:i + 64], block))
    return bytes(out)


def poly1305(key, data):
    r = int.from_bytes(key[:16], "little") & 0x0ffffffc0ffffffc0ffffffc0fffffff
    acc = 0
    for i in range(0, len(data), 16):
        acc = (acc + int.from_bytes(data[i:i + 16] + b"\x01", "little")) * r % (2**130 - 5)
    return ((acc + int.from_bytes(key[16:], "little")) & (2**128 - 1)).to_bytes(16, "little")


def pad16(data):
    return data + bytes(-len(data) % 16)


def aead(key, nonce, plain, ad):
    text = chacha20(key, 1, nonce, plain)
    one_time = chacha20_block(key, 0, nonce)[:32]
    return text + poly1305(one_time, pad16(ad) + pad16(text) + struct.pack("<QQ", len(ad), len(text)))


def counter_nonce(n):
    return bytes(4) + struct.pack("<Q", n)


def xaead(key, nonce, plain, ad):
    return aead(hchacha20(key, nonce[:16]), bytes(4) + nonce[16:], plain, ad)


def HASH(data):
    return hashlib.blake2s(data).digest()


def MAC(key, data):
    return hashlib.blake2s(data, key=key, digest_size=16).digest()


def HMAC(key, data):
    return hmac.new(key, data, hashlib.blake2s).digest()


def KDF(n, key, data):
    t0, out, last = HMAC(key, data), [], b""
    for i in range(1, n + 1):
        last = HMAC(t0, last + bytes([i]))
        out.append(last)
    return out


def check():
    h = bytes.fromhex
    assert x25519(h("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
                  h("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")) == \
        h("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")
    nine = (9).to_bytes(32, "little")
    assert x25519(nine, nine) == h("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079")
    # RFC 8439 sections 2.3.2 and 2.5.2
    assert chacha20_block(bytes(range(32)), 1, h("000000090000004a00000000"))[:16] == \
        h("10f1e7e4d13b5915500fdd1fa32071c4")
    assert poly1305(h("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b"),
                    b"Cryptographic Forum Research Group") == h("a8061dc1305136c6c22b8baf0c0127a9")
    # draft-irtf-cfrg-xchacha section 2.2.1
    assert hchacha20(bytes(range(32)), h("000000090000004a0000000031415927")) == \
        h("82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc")
    # RFC 7693 appendix B
    assert HASH(b"abc") == h("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982")


def fill(tag, n):
    """Bytes that look random but are the same every time."""
    return b"".join(hashlib.sha256(f"{tag}{i}".encode()).digest() for i in range(n // 32 + 1))[:n]


def main():
    check()
    print("/* SPDX-License-Identifier: MIT */\n/* Made by wg_vectors.py; do not edit. */\n"
          "#ifndef WG_VECTORS_H\n#define WG_VECTORS_H")

    def put(name, value):
        print(f'#define {name} "{value.hex()}"')

    base = (9).to_bytes(32, "little")
    si, sr, ei, er = (fill(t, 32) for t in ("si", "sr", "ei", "er"))
    psk, stamp = fill("psk", 32), fill("stamp", 12)
    pub = {k: x25519(k, base) for k in (si, sr, ei, er)}

    def clamp(k):
        return bytes([k[0] & 248]) + k[1:31] + bytes([k[31] & 127 | 64])
    for name, key in (("SI", si), ("SR", sr), ("EI", ei), ("ER", er)):
        put(f"V_{name}_SECRET", clamp(key))
        put(f"V_{name}_PUBLIC", pub[key])
    put("V_PSK", psk)
    put("V_STAMP", stamp)
    put("V_SHARED", x25519(si, pub[sr]))

    put("V_MAC16_KEY", fill("k16", 16))
    put("V_MAC16", MAC(fill("k16", 16), fill("text", 116)))
    put("V_MAC32", MAC(fill("k32", 32), fill("text", 116)))
    put("V_MAC32_KEY", fill("k32", 32))
    put("V_TEXT", fill("text", 116))
    put("V_HMAC", HMAC(fill("k32", 32), fill("text", 116)))
    for i, t in enumerate(KDF(3, fill("k32", 32), fill("text", 116))):
        put(f"V_KDF{i + 1}", t)
    put("V_AEAD", aead(fill("k32", 32), bytes(12), fill("text", 116), psk))
    put("V_XNONCE", fill("xnonce", 24))
    put("V_XAEAD", xaead(fill("k32", 32), fill("xnonce", 24), fill("text", 116), psk))
    for n in (0, 1, 15, 16, 63, 64, 65, 116):
        put(f"V_DATA{n}", aead(fill("k32", 32), counter_nonce(0x0102030405060708 + n), fill("text", n), b""))

    # Section 5.4.2, the initiation.
    c = HASH(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
    h = HASH(HASH(c + b"WireGuard v1 zx2c4 Jason@zx2c4.com") + pub[sr])
    zero = counter_nonce(0)
    msg = struct.pack("<II", 1, 0x11223344) + pub[ei]
    (c,) = KDF(1, c, pub[ei])
    h = HASH(h + pub[ei])
    c, k = KDF(2, c, x25519(ei, pub[sr]))
    part = aead(k, zero, pub[si], h)
    msg, h = msg + part, HASH(h + part)
    c, k = KDF(2, c, x25519(si, pub[sr]))
    part = aead(k, zero, stamp, h)
    msg, h = msg + part, HASH(h + part)
    mac1 = MAC(HASH(b"mac1----" + pub[sr]), msg)
    put("V_INITIATION", msg + mac1 + bytes(16))
    initiation = msg + mac1

    # Section 5.4.3, the response.
    msg = struct.pack("<III", 2, 0x55667788, 0x11223344) + pub[er]
    (c,) = KDF(1, c, pub[er])
    h = HASH(h + pub[er])
    (c,) = KDF(1, c, x25519(er, pub[ei]))
    (c,) = KDF(1, c, x25519(er, pub[si]))
    c, t, k = KDF(3, c, psk)
    h = HASH(h + t)
    part = aead(k, zero, b"", h)
    msg, h = msg + part, HASH(h + part)
    put("V_RESPONSE", msg + MAC(HASH(b"mac1----" + pub[si]), msg) + bytes(16))

    # Section 5.4.5, the transport keys.
    ti, tr = KDF(2, c, b"")
    put("V_KEY_INITIATOR_SENDS", ti)
    put("V_KEY_RESPONDER_SENDS", tr)

    # Section 5.4.7: a cookie for 192.0.2.1 port 51820, and the initiation signed with it.
    secret, nonce = fill("secret", 32), fill("cookie nonce", 24)
    cookie = MAC(secret, bytes([192, 0, 2, 1]) + struct.pack(">H", 51820))
    put("V_COOKIE_RANDOM", secret + nonce)
    put("V_COOKIE_REPLY", struct.pack("<II", 3, 0x11223344) + nonce +
        xaead(HASH(b"cookie--" + pub[sr]), nonce, cookie, mac1))
    put("V_INITIATION_SIGNED", initiation + MAC(cookie, initiation))
    print("#endif")


main()
