// SPDX-License-Identifier: MIT
/* doc/openapi.json as it was when this was built. */
#include "controld/rest/contract.h"

#include "controld/rest/call.h"

__asm__(".section .rodata\n"
	".global kk_contract_text\n"
	"kk_contract_text: .incbin \"doc/openapi.json\"\n"
	".global kk_contract_end\n"
	"kk_contract_end: .byte 0\n"
	".previous\n");

extern const char kk_contract_end[];

size_t kk_contract_len(void)
{
	return (size_t)(kk_contract_end - kk_contract_text);
}

int kk_contract_show(struct kk_call *call)
{
	return kk_call_raw(call, "application/json", kk_contract_text, kk_contract_len());
}
