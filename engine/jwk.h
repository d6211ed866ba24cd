/* jwk.c: the functions jws.key and jws.jwk. */
#ifndef FULCIO_JWK_H
#define FULCIO_JWK_H

#include "key.h"

/* jws.key(jwk) --> pkey | nil, message, "bad_key" */
int jwk_key(lua_State *L);
/* jws.jwk(key) --> table */
int jwk_table(lua_State *L);

#endif
