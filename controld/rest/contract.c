// SPDX-License-Identifier: MIT
/* doc/openapi.json as it was when this was built. */
#include "controld/rest/contract.h"

#include <stdint.h>

#include "controld/rest/call.h"

__asm__(".section .rodata\n"
	".global kk_contract_text\n"
	"kk_contract_text: .incbin \"doc/openapi.json\"\n"
	"kk_contract_end: .byte 0\n"
	".balign 8\n"
	".global kk_contract_size\n"
	"kk_contract_size: .quad kk_contract_end - kk_contract_text\n"
	".previous\n");

/* bytes, without the final NUL */
extern const uint64_t kk_contract_size;

size_t kk_contract_len(void)
{
	return (size_t)kk_contract_size;
}

int kk_contract_show(struct kk_call *call)
{
	return kk_call_raw(call, "application/json", kk_contract_text, kk_contract_len());
}
