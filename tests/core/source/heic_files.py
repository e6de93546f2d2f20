"""Tiny HEIC photographs for the tests: no encoder is at hand where they run.

Each shows four blocks of 24 x 32 pixels: red (200, 40, 40), green
(40, 180, 60), blue (50, 60, 210), grey (128, 128, 128).
"""

from __future__ import annotations

import base64
import zlib
from typing import Final


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b85decode("".join(text.split())))


EIGHT_BIT: Final = _unpacked(
    """
    c-muNV30{GsVvAy&8%Pmg51nBLl8SRGck>Ufw3+(wIq=N0u(b+a*CjAhJwuG5(YG&l$n#C3}U!AFfalk5HK!+&_M78h?O%l^U}aPkf<n-
    lgb3;Wt1fwf|z^-nI*Y!CI2!DiVA@Az088-d>~y8ROZac!U1H?vj8cQ`@rz$|BoLG4E)RqKpo-
    ^j6970|AQ1TgH<pCmF!}2NCe7hIWaP#N=#r8P}p=gX3BMQMqV}+kXQ<cU{Oc{D(7%vJXkDYz%c=6i*Ry&PElTRP6be$mw~MTC?t|uT#yR&ngbM
    TB<Ca+K-
    nPI8$f9gVEX_6{|68a!~zAG6`3GGW)2RJS0pkEa$%ti3^>+CCT7+aAp1*hN+KwfUuZC{XWQ{K;7HH^`S$<+pA`Kie_?^_u3o!OV%FxL-haP8k?
    a4z89$$|xpX+;=h_c?Q-
    YT8Yb6O}T6fgxzB}$E@qCWsoUC^j<B}G6rvG$Nn7a6hSp4rf^8fQ%pIp=Z=fm{w`MuQ<A9OorGOfS=ME=Rv{J^}7ca8tOzjU1V{`1)r>AsfTX7
    ia`c=s+34i`zwWazd%s?c#JZsn`&q=)iZ$;;DMJ~^}5n5XPyL;S{nmx9{*AAStvEsWlAJZ?hNx@A(&v)7BvSeaXu>?y%tfA)XE{SEKVXB{lK==
    p!C+co(otDpXOTE8JxmDyMb0NTyRVg
    """
)
"""As described."""

TEN_BIT: Final = _unpacked(
    """
    c-
    muNV30{GsVvAy&8%Pmg51nBLl8SRGck>Ufw49>wIq=N0u(b+a*CjAhJwuG5(YG&l$n#C3}U!AFfalk5HK!;&_GZL#LAhOd1+uCNK_QaNo9iaGR
    l$-K}^1a%#vKVlE0Y+MFl|mZe~GpK9DX0DsyIJ;Q%t{Sb!ACePH<W|JN@D27cxQpbl{dMjpoh|3M0v!77-
    6N_H_hBm(6$ofsKWB_^;4D9qNqdeXPJK;S}x0|Nt_14zOt38<RGh4EmqgaO9{pe4e|`8h>-$vG83ab5<t2B45gW^q9()MpM*tdX3PSO8^%9B%-
    nL4fK1|NkFAG!P3EWL9K?1ev+GxPX*IW<f42kb&XG+Q`Jr+5%)Z=B6Zq0=ZO!aXs6P6d~h(H9%8T!e7+8=*sTuwfiJyZT@Nh_xlsM{{NeGBk$a
    !Jj>U{_t*LVmbd@!zw@;C-8F(+UhKdB>xE89cXjMzSNBR$x4DXz=eSrmn947|R50(ljE&#S12^~|xxG87&TxaXcA9iR@}WGPmB+L$HUIz;GlZ`
    """
)
"""The same with 10 bit a channel: 4.016 times as large."""

TURNED: Final = _unpacked(
    """
    c-muNV30{GsVvAy&8%Pmg51nBLl8SRGck>Uf$?N+YDppk1Sn>t<P<^K3<a6VB@Af5Br_*J8N_gLU|?ck1hE+3LTDg(0~7-
    Srkik)4j{J3%*;yz^FXqqKu#)H8Bk3|S+XGmk{}~UiEBkBSUF!oW=SpsR3#%vW<gN_ko`QfAUPjMmjm@WGqP|1ne!|_isU{p{Q3Xm2Ll5?a{^F
    @xC0{(<NyC41<YU-%s?f(m>d#;a#~J|jHnV5SOgR{-Hn-Y-JFq^jRho@0wP!xl7PxNTo?})OBirW0NNs)oS##amz+}p6z64NYXAy~WEK~sLjCI
    i#Tv;ui3LzLC@c)1G&mIg|Ns918X5uxnH8BJL1qpPkXJY}i}Fi=4q}kZEXak$3L^s}TO$)QYfBrDBb8Z{ng*5NOHL_H2FC*^glckA5<wC6LW6N
    V+m5FJM|%FxxBvhDr06gC3kzg-_1b+Bvo`<q{`>ujT>t;g`1yRzrNaq7*M88O610S0D@h>Jx}#3_-
    El98=W`tAWWBo>m$b+;{iln<)WuK4;(yPP|DV_T<eKh3AEtND@2!sbpxZH%Y5n~t@=vzr2j*qGYy9v1rQ^i+pU<91_qFUco6qFJyLWkTxJX(iL
    $~cwg^n|ED_><NJ(SN%UY@@4$(hZ@JY^>v;y3=g6x7!L@M9ovVf2pUaTB7}Et7hly<TL-
    %G|1CPYM3|v;PzBZ+Le;>tMk}&;Lu^uE{@H{q)Dv`VFb7%*H}Mzp_CRi?1((7Ldomz{1E64p%lHwqq0kvza4+X^c?_6wknL0?M>!GO$47!vz$K
    0U7yuzzAfTzzkL|0>nv^*cf=AYRW)rj0}uStPD)849pY^%&iP8tPCs}>@ORG0RS1-;1d
    """
)
"""The same, turned right by the file, which says so in EXIF, too; taken by a phone at 0.3 m."""

THREE_IMAGES: Final = _unpacked(
    """
    c-
    muNV30{GsVvAy&8%Pmg51nBLl8SRGck>Uf$>gmYDppk1Sn>t<P<^K3<a6VB@Af5Ei)%S8N_gLU|?oo1hJSHAT$s>262EQkKrOGfU1Cic{N<*HW
    2$}X6B`Vc_3L)ASV^95vV4kEZL9&MUV-bATvUcuOPD|mjSAskuS5Lr~t^mmsyaU52VY1%A6TlIDpJ~79d4(9~l1p|M7!?fuA`6s6*U=k%#gBe~
    <!ZunM5ba=Vxu5`l7BPK=DG5))Vi6gJ(BnR4Bnk(Z4HB$fgqSQL_g$~jyZ4;D)pa7+N&BAlF`Q<RsSQvnp`WngOn3W;PE7o<W1!2yajl5-
    LZplnb8889FMlj;Be{~sX!XAmgJtjGlWn}Y-76^+b-Tv(g|qk*-
    NiJ7&9feA`8Lum%4zTA{VP#oUZU|i4g<MyYQzwZB>`v3nAGi&`rj@@}?)8_Ws@N2Z{pGx}w>)!<bTfggmEf0FO;_I>%!k?N1zt2y)8e<}0@<9D
    ^b~S@o<b!#o`bn4e-`w>7$H4=f&6P2_?cZeooBz{z!y0V!=fJv}Sr;39Isf<U-
    Y%9k?L+(gmNh}E`wSP~sjuQ`QC7Wl;=J2?<*ULhiTkB|j?eAP{kF`itZJUmY2ya2|Cd9m(lof1vKC%DxOKhKpXVL*7wW8ke2Q0SKb|5saZ&Mx`
    7_p@d8PcfV@>t6uw`?#%r^Y%RNK1WD9d<fSY0b9n2vzG__ng-Z~ot-|DV)Np8x;5ChK--Z@=R*wNsq`KQ&COt@ltXNa3!Wu%pnq_gtO&lBY*Y=
    hU$8{CboB|J~@EiVFLw3TvNOeE<K9{r{WOPSU-{pD(-
    r<W>yhGcKctvc1L*fhWxOu3TX(SU$gXVNTbi_TzJH{Ep2(5F$EzV#v}R+QBOwpC{Mfe!{Xajb)L|<6fOW|5c3EQ@xMe)SgpthtqIQ$|*VVduRS
    <evfEqRLNPi;()r8``Vvc&;Bed-SzF^PRRv8e_RLq<4x3yY1^+Z{QvL2{Qp0pceXvw%)Ifqf8u5D+j9>6_<eut{q8m%9_Bqi)~ZCSJuF;X;Z$~
    Oy>${t{M+?gvd-z$Ghb~qW+^Jx{r~a6pR8Y%;-
    BlypQ!IQJMedQ+jr^Tlg>WNnzo(Gj5TV;%ygUH{`Za(N{b)a_y3$Oney5Dd%p0M#j``|PhLw-
    ys{$DJbmIEx!n`~zpj<zzaCj<U|*`X<NKfG%a@DB-3W<`jCHU1&9_QJXm`4RuoQ2@v%bX}rDBUtt=^~Vc6<LtHP**dJzoW{OWB<W0D1SPKL
    """
)
"""The same in one file with its mirror images, upside down and left to right."""

GREY: Final = _unpacked(
    """
    c-
    muNV30{GsVvAy&8%Pmg51nBLl8SRGck>Ufw43<wIq=N0u(b+a*CjAhJwuG5(YG&l$n#C3}U!AFfalk5HQY!&_I>|kWkLd%u9oCfmjsCNo9iaGR
    l$-K}^1a%#vKVlCPNsMFl|mYGy%lKFC_2GG|5>4j^;>50E0c4-
    9|)`~WifnG=9I#2pxU82|qVDPRVxU<NAL#pI9(lv8zLWJHxX(8MAZy?WBDX9pS>7<d{$f-
    Olvm257I2a6AM0*x0=&d({zOU|hPit;kB0hKU_WEK~sLVfH2#Tv;ui3LzL$k_%^8U&dB|Ns91L_<7RkqP!2$OjUc1-Y=m1%?-
    EBNH=g3y>+1o013&Tt*%Z#&x^}b>iAT)pmcsSL1)L<I%(C3wHeZb+lsL>F3dYVt<!JK1#p7(|(3nn)TfG3w~Sd=baT+o~)mvuC(N!Oo+y&_@7^
    2y|SyDWwT|$j(0ED^{?71bw9n-
    t@h*P^)s3aclxQtE^v6l))KmvzuRf`@?~*9l=%;@d?xvQQflLm9G{cx^v<O(+j)55zg~x;=yS=BV*JD}PK>DL-}P17USp?-
    WX_?}dlcXPlJ@iEbIN79bwfDQE706#WtaSN{=1h0oO&g%nNMm9ww_tcyDR&YpQBi11<%A|wbkbOFL_t&EWOXN_0ZXudnQ@$|0{p}?AMdmf1g`m
    yW(iap74(s-alIr`~Fi{;2-<u%f2T6cQva60Nmf$&H
    """
)
"""Its red channel only."""
