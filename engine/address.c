/* address: which addresses a stranger's URL may lead to. From the IANA
** special-purpose registries (RFC 6890), and what clouds put beside them. */
#include "http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

typedef struct Network {
  uint32_t address;
  int bits;
} Network;

static bool ipv4_is_public(uint32_t address) {
  const Network refused[] = {
    {0x00000000, 8},  /* 0.0.0.0/8 this host */
    {0x0a000000, 8},  /* 10.0.0.0/8 */
    {0x64400000, 10}, /* 100.64.0.0/10 carrier NAT */
    {0x7f000000, 8},  /* 127.0.0.0/8 */
    {0xa83f8110, 32}, /* 168.63.129.16 Azure's host */
    {0xa9fe0000, 16}, /* 169.254.0.0/16 link-local, metadata */
    {0xac100000, 12}, /* 172.16.0.0/12 */
    {0xc0000000, 24}, /* 192.0.0.0/24 protocol assignments */
    {0xc0000200, 24}, /* 192.0.2.0/24 documentation */
    {0xc0586300, 24}, /* 192.88.99.0/24 6to4 relays */
    {0xc0a80000, 16}, /* 192.168.0.0/16 */
    {0xc6120000, 15}, /* 198.18.0.0/15 benchmarks */
    {0xc6336400, 24}, /* 198.51.100.0/24 documentation */
    {0xcb007100, 24}, /* 203.0.113.0/24 documentation */
    {0xe0000000, 3},  /* 224.0.0.0/4 multicast, 240.0.0.0/4 reserved */
  };
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    uint32_t mask = UINT32_MAX << (32 - refused[i].bits);
    if ((address & mask) == refused[i].address) return false;
  }
  return true;
}

static uint32_t big_endian(const uint8_t bytes[4]) {
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
    (uint32_t)bytes[2] << 8 | bytes[3];
}

static bool ipv6_is_public(const uint8_t a[16]) {
  const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
  if (memcmp(a, nat64, sizeof nat64) == 0) /* 64:ff9b::/96 */
    return ipv4_is_public(big_endian(a + 12));
  uint32_t top = big_endian(a);
  if (top >> 29 != 1) return false;              /* not 2000::/3: no unicast */
  if (top >> 9 == 0x20010000 >> 9) return false; /* 2001::/23, Teredo */
  if (top == 0x20010db8) return false;   /* 2001:db8::/32 documentation */
  if (top >> 16 == 0x2002) return false; /* 2002::/16 6to4 */
  return top >> 12 != 0x3fff0;           /* 3fff::/20 documentation */
}

bool address_is_public(const struct sockaddr *address) {
  if (address->sa_family == AF_INET) {
    struct sockaddr_in in;
    memcpy(&in, address, sizeof in);
    return ipv4_is_public(ntohl(in.sin_addr.s_addr));
  }
  if (address->sa_family == AF_INET6) {
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof in6);
    return ipv6_is_public(in6.sin6_addr.s6_addr);
  }
  return false;
}
