/*
 * A guest without an operating system: every vCPU starts here, with its MMU off and all interrupts masked. It finds its
 * redistributor, enables the interrupts that its registers name, lets their sources raise them, and takes every
 * interrupt that arrives. It reports by stores to REPORTS, where there is no memory.
 *
 *     x0   INTID of the PMU, whose cycle counter then overflows
 *     x1   INTID of the virtual timer
 *     x2   INTID of the physical timer
 *     x3   SPI of a device of the VMM
 *     x4   an SGI, which the vCPU sends to its own affinity
 *     x5   address of the distributor
 *     x6   address of the first redistributor region
 *     x7   address of the second one
 *     x8   1 to leave SPIs edge-triggered, as they are after a reset
 *
 * 0 means that there is none.
 */

	.equ	REPORTS, 0x50000000
	.equ	MPIDR, 0x00
	.equ	TYPER, 0x08		/* GICR_TYPER of the redistributor with the affinity of this vCPU */
	.equ	LOST, 0x10		/* there is no such redistributor */
	.equ	READY, 0x18
	.equ	TAKEN, 0x20		/* an INTID */
	.equ	OVERFLOWS, 0x28		/* PMOVSCLR_EL0, when the interrupt of the PMU is taken */
	.equ	DONE, 0x30		/* each interrupt of x0 to x4 was taken */

	.equ	NO_INTERRUPT, 1023
	.equ	CYCLES, 1 << 31		/* the bit of the cycle counter */
	.equ	REDISTRIBUTOR, 0x20000	/* bytes */
	.equ	LAST, 4			/* the bit of GICR_TYPER */
	.equ	GICR_SGI, 0x10000	/* offset of the frame for SGIs and PPIs */
	.equ	GIC_IGROUPR, 0x80
	.equ	GIC_ISENABLER, 0x100
	.equ	GICD_ICFGR, 0xc00
	.equ	GICD_IROUTER, 0x6000

#define ICC_PMR_EL1	s3_0_c4_c6_0
#define ICC_IAR1_EL1	s3_0_c12_c12_0
#define ICC_EOIR1_EL1	s3_0_c12_c12_1
#define ICC_DIR_EL1	s3_0_c12_c11_1
#define ICC_SGI1R_EL1	s3_0_c12_c11_5
#define ICC_CTLR_EL1	s3_0_c12_c12_4
#define ICC_SRE_EL1	s3_0_c12_c12_5
#define ICC_IGRPEN1_EL1	s3_0_c12_c12_7

	/*
	 * Used throughout: x10 REPORTS, x11 the affinity as in GICR_TYPER, x12 the redistributor, x19 the count of
	 * loops, which the VMM reads, x20 whether the PMU has to overflow, x21 the interrupts that are still to come.
	 */
	.text
	.globl	_start
_start:
	mov	x19, #0
	mov	x21, #0
	mov	x10, #REPORTS
	mrs	x9, mpidr_el1
	str	x9, [x10, #MPIDR]
	and	x11, x9, #0xffffff
	ubfx	x13, x9, #32, #8
	orr	x11, x11, x13, lsl #24

	mov	x12, x6
1:	ldr	x13, [x12, #8]		/* GICR_TYPER */
	lsr	x14, x13, #32
	cmp	x14, x11
	b.eq	found
	add	x12, x12, #REDISTRIBUTOR
	tbz	x13, #LAST, 1b
	mov	x12, x7
	mov	x7, #0
	cbnz	x12, 1b
	str	x11, [x10, #LOST]
	b	wait

found:	str	x13, [x10, #TYPER]
	mov	x13, #7
	msr	ICC_SRE_EL1, x13
	isb
	mov	x13, #0xff
	msr	ICC_PMR_EL1, x13
	mov	x13, #2			/* EOImode: ICC_DIR_EL1 ends an interrupt */
	msr	ICC_CTLR_EL1, x13
	mov	x13, #1
	msr	ICC_IGRPEN1_EL1, x13
	isb
	mov	w13, #0x12		/* ARE, and group 1 */
	str	w13, [x5]		/* GICD_CTLR */

	mov	x15, x0
	bl	enable
	mov	x15, x1
	bl	enable
	mov	x15, x2
	bl	enable
	mov	x15, x3
	bl	enable
	mov	x15, x4
	bl	enable
	str	x21, [x10, #READY]
	mov	x20, x0
	cbz	x0, 2f

	/* The values of these three are unknown after a reset. */
	mov	x13, #-1
	msr	pmcntenclr_el0, x13
	msr	pmintenclr_el1, x13
	msr	pmovsclr_el0, x13
	mov	x13, #0x47		/* E, P, C, LC */
	msr	pmcr_el0, x13
	msr	pmccfiltr_el0, xzr
	isb
	mov	x13, #-0x20000
	msr	pmccntr_el0, x13
	mov	x13, #CYCLES
	msr	pmintenset_el1, x13
	msr	pmcntenset_el0, x13
	isb

2:	mov	x13, #1
	mov	x14, #1000
	cbz	x1, 3f
	msr	cntv_tval_el0, x14
	msr	cntv_ctl_el0, x13
3:	cbz	x2, 4f
	msr	cntp_tval_el0, x14
	msr	cntp_ctl_el0, x13
4:	cbz	x4, 5f
	/* ICC_SGI1R_EL1: RS, Aff2, the INTID, Aff1, and the target list, which has 16 bits of Aff0. */
	and	x14, x11, #15
	lsl	x13, x13, x14
	bfi	x13, x4, #24, #4
	ubfx	x14, x11, #4, #4
	bfi	x13, x14, #44, #4
	ubfx	x14, x11, #8, #8
	bfi	x13, x14, #16, #8
	ubfx	x14, x11, #16, #8
	bfi	x13, x14, #32, #8
	msr	ICC_SGI1R_EL1, x13
5:	isb

wait:	add	x19, x19, #1
	mrs	x22, ICC_IAR1_EL1
	dsb	sy
	isb
	cmp	w22, #NO_INTERRUPT
	b.ne	taken
	cbz	x20, 6f
	mrs	x13, pmovsclr_el0
	tbz	x13, #31, 7f
6:	wfi
	b	wait
7:	mov	x13, #1000		/* The counter counts only while the vCPU executes instructions. */
8:	sub	x13, x13, #1
	cbnz	x13, 8b
	b	wait

taken:	str	x22, [x10, #TAKEN]
	cmp	x22, x0
	b.eq	of_pmu
	cmp	x22, x1
	b.eq	of_virtual_timer
	cmp	x22, x2
	b.eq	of_physical_timer
	cmp	x22, x4
	b.eq	ended
	msr	ICC_EOIR1_EL1, x22	/* It stays active, because nothing here lowers its line. */
	isb
	cmp	x22, x3
	b.eq	count
	b	wait

of_pmu:	mrs	x13, pmovsclr_el0
	str	x13, [x10, #OVERFLOWS]
	mov	x13, #-1
	msr	pmintenclr_el1, x13
	msr	pmovsclr_el0, x13
	mov	x20, #0
	b	ended
of_virtual_timer:
	msr	cntv_ctl_el0, xzr
	b	ended
of_physical_timer:
	msr	cntp_ctl_el0, xzr
ended:	isb
	msr	ICC_EOIR1_EL1, x22
	isb
	msr	ICC_DIR_EL1, x22
	isb
count:	sub	x21, x21, #1
	cbnz	x21, wait
	str	x22, [x10, #DONE]
	b	wait

	/*
	 * Enables the interrupt x15 in group 1 if it is not 0: an SGI or a PPI at x12, an SPI at x5, level-triggered
	 * and routed to this vCPU. Adds 1 to x21.
	 */
enable:	cbz	x15, 9f
	add	x21, x21, #1
	mov	w13, #1
	lsl	w13, w13, w15		/* modulo 32 */
	lsr	x14, x15, #5
	mov	w16, #-1
	cbnz	x14, spi
	add	x17, x12, #GICR_SGI
	str	w16, [x17, #GIC_IGROUPR]
	str	w13, [x17, #GIC_ISENABLER]
9:	ret
spi:	add	x17, x5, x14, lsl #2
	str	w16, [x17, #GIC_IGROUPR]
	cbnz	x8, 10f
	lsr	x16, x15, #4
	add	x16, x5, x16, lsl #2
	str	wzr, [x16, #GICD_ICFGR]
10:	mov	x16, #GICD_IROUTER
	add	x16, x16, x5
	add	x16, x16, x15, lsl #3
	and	x18, x9, #0xffffff
	str	x18, [x16]
	str	w13, [x17, #GIC_ISENABLER]
	ret
